"""What is kept where: homes, databases, the files of trials, metric records."""
