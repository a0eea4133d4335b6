"""From a code word to the statement about the decoded model, and its file."""
