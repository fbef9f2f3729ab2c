"""The research loop: propose, commit, measure, judge, keep or revert."""
