"""Room `vocabulary`: closed sets of words, imported by every other room; imports nothing of ours."""
