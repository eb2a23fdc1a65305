"""Parts that several jobs use: flags, folders and files, progress, threads."""
