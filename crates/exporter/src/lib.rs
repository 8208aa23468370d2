//! Build results to images, archives and directories.
