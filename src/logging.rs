//! Log lines, written by one background thread.
