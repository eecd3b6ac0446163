"""What each command does, a module named as the command."""
