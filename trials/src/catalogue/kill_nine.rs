//! The process dies at any moment; what was acked stays.

use std::time::Duration;

use crate::scene::{ACK_LIMIT, Scene};
use crate::{Context, Outcome};

const KILLS: usize = 100;

/// Kills the server again and again under load. The producers live through all of it.
pub(super) fn keep_every_ack(context: &Context) -> Outcome {
    let scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    let mut dice = context.dice(1);
    let mut slowest_start = Duration::ZERO;
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(dice.u64(0..500)));
        server.kill()?;
        server = scene.launch.start()?; // at once: the dead process's writes may still land
        slowest_start = slowest_start.max(server.ready_after());
    }
    producers.await_acks(100, ACK_LIMIT)?;
    let ledger = producers.finish()?;
    let kept = scene.expect_kept(&ledger)?;
    server.stop()?;
    Ok(format!("{KILLS} kills, slowest start {slowest_start:.0?}; {kept}"))
}

/// Stops the process's clock for longer than any timeout of its own.
pub(super) fn survive_a_pause(context: &Context) -> Outcome {
    let scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    for _ in 0..2 {
        server.pause()?;
        std::thread::sleep(Duration::from_secs(5));
        server.resume()?;
        producers.await_acks(1000, ACK_LIMIT)?;
    }
    server.check_alive()?;
    let kept = scene.expect_kept(&producers.finish()?)?;
    server.stop()?;
    Ok(format!("two pauses of 5 s; {kept}"))
}
