//! Real sockets, real files, real rings; no root, no timing asserted.

mod dial;
mod disk;
mod echo;
mod features;
mod machine;
mod memory;
mod rig;
