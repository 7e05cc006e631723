"""What train needs and nothing else uses: tokens, batches, the step, the loop."""
