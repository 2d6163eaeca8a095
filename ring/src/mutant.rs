//! The planted mutants of the ring, by which a test of the real kernel shows that it would notice.

base::mutants! {
    /// Durable writes are submitted without RWF_DSYNC.
    ForgetDsync = "forget-dsync",
}
