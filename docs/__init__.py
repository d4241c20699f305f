"""What outgrew the README, and the pictures in it."""
