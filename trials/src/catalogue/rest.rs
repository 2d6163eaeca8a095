//! A server with nothing to do, and one that is asked to stop.

use std::time::Duration;

use crate::scene::{ACK_LIMIT, Scene};
use crate::{Context, Outcome, Server, ensure};

/// What is measured against the promise of 1 %: far beyond it, so that a busy machine never fails
/// the trial and a core that spins always does.
const CORE_PERCENT_MAX: f64 = 5.0;
const WATCHED: Duration = Duration::from_secs(5);
const STOPS: usize = 10;

/// An adaptive server after a load, first with its clients still connected, then alone.
pub(super) fn cost_nothing(context: &Context) -> Outcome {
    let mut scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    scene.launch = scene.launch.flag("--poll", "adaptive");
    let (mut server, producers) = scene.begin()?;
    producers.await_acks(1000, ACK_LIMIT)?;
    producers.rest();
    let among_clients = core_percent(&server)?;
    let kept = scene.expect_kept(&producers.finish()?)?;
    let alone = core_percent(&server)?;
    server.check_alive()?;
    server.stop()?;
    for (percent, case) in [(among_clients, "with idle clients"), (alone, "alone")] {
        let spins = CORE_PERCENT_MAX < percent;
        ensure!(!spins, "it used {percent:.1} % of a core {case}");
    }
    Ok(format!("{among_clients:.2} % of a core with idle clients, {alone:.2} % alone; {kept}"))
}

/// How much of one core the server uses in a while that begins once it has come to rest.
fn core_percent(server: &Server) -> Outcome<f64> {
    std::thread::sleep(Duration::from_secs(1));
    let before = server.cpu_time()?;
    std::thread::sleep(WATCHED);
    Ok((server.cpu_time()? - before).as_secs_f64() / WATCHED.as_secs_f64() * 100.0)
}

/// SIGTERM under load, again and again: each ends in success, and each start finds a sealed log.
pub(super) fn seal_when_asked_to_stop(context: &Context) -> Outcome {
    let scene = Scene::new(context, context.server()?, &context.folder().join("data"))?;
    let (mut server, producers) = scene.begin()?;
    let mut dice = context.dice(5);
    let mut took = Vec::new();
    for _ in 0..STOPS {
        std::thread::sleep(Duration::from_millis(dice.u64(0..300)));
        took.push(server.stop()?);
        server = scene.launch.start()?;
        let said = server.said();
        let found: Vec<&str> = said.lines().filter(|line| line.starts_with("recovery")).collect();
        let sealed = |line: &&str| line.ends_with("; sealed");
        ensure!(found.len() == 3 && found.iter().all(sealed), "not sealed, found:\n{said}");
        producers.await_acks(100, ACK_LIMIT)?;
    }
    let kept = scene.expect_kept(&producers.finish()?)?;
    took.push(server.stop()?);
    took.sort_unstable();
    let (median, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    Ok(format!("{} stops: median {median:.0?}, slowest {slowest:.0?}; {kept}", took.len()))
}
