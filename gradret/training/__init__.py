"""Training of the student: tokens, batches, the step and the loop."""
