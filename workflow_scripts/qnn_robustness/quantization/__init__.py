"""TFLite: conversion, the batched interpreter, the flatbuffer and the exact integer model."""
