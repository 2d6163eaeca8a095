//! Shards of a stopped folder, run without a server: `chiplog dump` and `chiplog repair` see what a
//! server would see, because they run the same engine.
//!
//! ```text
//!   Image::of_files    reads come from the files, writes stay in memory: nothing is changed
//!   Image::on_disk     writes go to the files, each synced before the next
//! ```

mod image;
mod shard;
mod topics;

pub(crate) use image::Image;
pub(crate) use shard::{OfflineShard, OfflineStopped, Unreadable};
pub(crate) use topics::TopicNames;
