"""What faceflow asks of the machine: files, caches, child processes, programs, threads."""
