"""What every layer needs: errors, atomic files, random streams, code hashes, job set-up."""
