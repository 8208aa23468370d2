//! Tests of the frontend's program. What it builds is tested with the engines that run it.

mod program;
