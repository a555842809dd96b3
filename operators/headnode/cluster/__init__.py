"""What a cluster can be asked: submit once, look at all jobs, cancel, read logs; and the tracker that follows jobs."""
