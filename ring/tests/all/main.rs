//! Real sockets, real files, real rings; no root, no timing asserted.

mod disk;
mod echo;
mod features;
mod machine;
mod memory;
mod rig;
