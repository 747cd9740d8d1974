//! Small runnable programs, one per use.
