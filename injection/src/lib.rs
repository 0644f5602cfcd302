//! What becomes of a Pod: one pure question, one answer.
