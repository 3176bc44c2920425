"""What networks reveal beside their robustness, one module a question.

Each module has `measure(subject, **parameters) -> DataFrame`, one row for each sample and setting. `tables` has a
module for each table that is made from these rows. None of them imports TensorFlow: `shared.loading` does.
"""
