"""The volume's own directory, `.twinfs/`: what it holds exists in the mounted tree alone."""
