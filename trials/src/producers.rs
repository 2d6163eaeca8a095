//! librdkafka producers that write down every ack.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer,
};

use crate::ledger::{Ack, Ledger};
use crate::record::{Stamp, digest};
use crate::{Outcome, Trouble};

/// What is to be produced.
#[derive(Clone, Debug)]
pub struct Load {
    /// `host:port` of a server.
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    pub producers: u16,
    /// Of each producer.
    pub records_per_s: u32,
    /// Of a record's value, behind its stamp.
    pub body_bytes_max: usize,
    /// Tells the records of this run from others.
    pub run: u64,
    /// How long a producer waits for an answer before it breaks the connection and sends again.
    pub answer_within: Duration,
}

/// librdkafka's own patience with a server that says nothing.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// Producers at work. They outlive the server: an unanswered record is sent again until it is acked.
#[derive(Debug)]
pub struct Producers {
    ledger: Arc<Mutex<Ledger>>,
    order: Arc<Order>,
    threads: Vec<JoinHandle<Result<u64, KafkaError>>>,
}

/// What the threads are to do.
#[derive(Debug, Default)]
struct Order(AtomicU8);

impl Order {
    const SEND: u8 = 0;
    const REST: u8 = 1;
    /// Send no more, and wait for the answers.
    const FINISH: u8 = 2;
    /// Send no more, and wait for nothing.
    const ABANDON: u8 = 3;

    fn give(&self, order: u8) {
        self.0.store(order, Ordering::Relaxed);
    }

    fn read(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Producers {
    pub fn start(load: &Load) -> Outcome<Self> {
        let ledger = Arc::default();
        let order = Arc::<Order>::default();
        let mut threads = Vec::new();
        for producer in 0..load.producers {
            let client = connect(load, &ledger)?;
            let (load, order) = (load.clone(), Arc::clone(&order));
            threads.push(thread::spawn(move || produce(&client, &load, producer, &order)));
        }
        Ok(Self { ledger, order, threads })
    }

    /// Records acked so far.
    #[must_use]
    pub fn acked(&self) -> usize {
        locked(&self.ledger).acks.len()
    }

    /// Waits until `more` records are acked than now.
    pub fn await_acks(&self, more: usize, limit: Duration) -> Outcome<()> {
        let (wanted, deadline) = (self.acked() + more, Instant::now() + limit);
        while self.acked() < wanted {
            if deadline < Instant::now() {
                let Ledger { acks, refusals, complaints } = self.ledger();
                let (acked, first) = (acks.len(), refusals.first());
                return Err(Trouble::failed(format!(
                    "{acked} of {wanted} records acked after {limit:?}; {} refused, first {first:?}; \
                     the client said {complaints:?}",
                    refusals.len(),
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits until each of the partitions has one more ack than now; how long that took.
    pub fn await_each(&self, partitions: i32, limit: Duration) -> Outcome<Duration> {
        let (start, from) = (Instant::now(), self.acked());
        loop {
            let ledger = locked(&self.ledger);
            let acked: HashSet<i32> = ledger.acks[from..].iter().map(|ack| ack.partition).collect();
            drop(ledger);
            let missing: Vec<i32> = (0..partitions).filter(|id| !acked.contains(id)).collect();
            if missing.is_empty() {
                return Ok(start.elapsed());
            }
            if limit < start.elapsed() {
                let Ledger { refusals, complaints, .. } = self.ledger();
                return Err(Trouble::failed(format!(
                    "no ack from partitions {missing:?} in {limit:?}; {} refused, first {:?}; the \
                     client said {complaints:?}",
                    refusals.len(),
                    refusals.first(),
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends nothing from now on, and stays connected.
    pub fn rest(&self) {
        self.order.give(Order::REST);
    }

    /// A copy of the ledger as it stands.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        locked(&self.ledger).clone()
    }

    /// Sends no more and forgets what has no answer yet; what was acked until then.
    pub fn abandon(mut self) -> Outcome<Ledger> {
        self.order.give(Order::ABANDON);
        for thread in self.threads.drain(..) {
            thread.join().expect("a producer does not panic")?;
        }
        Ok(self.ledger())
    }

    /// Sends no more, waits for the answers, and requires that every record sent was acked.
    pub fn finish(mut self) -> Outcome<Ledger> {
        self.order.give(Order::FINISH);
        let mut sent = 0;
        for thread in self.threads.drain(..) {
            sent += thread.join().expect("a producer does not panic")?;
        }
        let ledger = locked(&self.ledger).clone();
        match ledger.refusals.first() {
            Some((stamp, why)) => Err(Trouble::failed(format!("{stamp:?} was refused: {why}"))),
            None if ledger.acks.len() as u64 != sent => {
                Err(Trouble::failed(format!("{sent} records sent and {} acked", ledger.acks.len())))
            }
            None => Ok(ledger),
        }
    }
}

impl Drop for Producers {
    fn drop(&mut self) {
        self.order.give(Order::ABANDON);
    }
}

/// Settings that every client of the trials shares: find a server that is back at once.
#[must_use]
pub fn client_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100");
    config
}

/// Writes acks down as librdkafka reports them.
struct Scribe {
    ledger: Arc<Mutex<Ledger>>,
}

impl ClientContext for Scribe {
    /// A server that is away is no complaint.
    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, Resolve};
        let away = [AllBrokersDown, BrokerTransportFailure, Resolve];
        if error.rdkafka_error_code().is_none_or(|code| !away.contains(&code)) {
            locked(&self.ledger).complaints.insert(format!("{error}: {reason}"));
        }
    }
}

impl ProducerContext for Scribe {
    type DeliveryOpaque = Box<Stamp>;

    fn delivery(&self, result: &DeliveryResult<'_>, stamp: Box<Stamp>) {
        let mut ledger = locked(&self.ledger);
        match result {
            Ok(message) => {
                let (key, value) =
                    (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                ledger.acks.push(Ack {
                    partition: message.partition(),
                    offset: message.offset(),
                    stamp: *stamp,
                    digest: digest(key, value),
                });
            }
            Err((error, _)) => ledger.refusals.push((*stamp, error.to_string())),
        }
    }
}

type Client = ThreadedProducer<Scribe>;

fn connect(load: &Load, ledger: &Arc<Mutex<Ledger>>) -> Outcome<Client> {
    let scribe = Scribe { ledger: Arc::clone(ledger) };
    let client = client_config(&load.bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0") // for ever: an outcome is never unknown
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "100")
        .set("linger.ms", "1")
        .set("socket.timeout.ms", load.answer_within.as_millis().to_string())
        .set("queue.buffering.max.kbytes", "16384")
        .create_with_context(scribe)?;
    Ok(client)
}

/// Produces at the rate asked for until told to stop; how many records it sent.
fn produce(client: &Client, load: &Load, producer: u16, order: &Order) -> Result<u64, KafkaError> {
    let start = Instant::now();
    let mut sequence = 0;
    while order.read() < Order::FINISH {
        if order.read() == Order::REST {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        let due = (start.elapsed().as_secs_f64() * f64::from(load.records_per_s)) as u64;
        while sequence < due && order.read() == Order::SEND {
            let stamp = Stamp { producer, sequence };
            if !send(client, load, stamp)? {
                break;
            }
            sequence += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    if order.read() == Order::ABANDON {
        client.purge(PurgeConfig::default().queue().inflight());
    } else {
        client.flush(Duration::from_secs(60))?;
    }
    Ok(sequence)
}

/// Hands one record to librdkafka; `false` if its queue is full.
fn send(client: &Client, load: &Load, stamp: Stamp) -> Result<bool, KafkaError> {
    let record = stamp.record(load.run, load.body_bytes_max);
    let partition = (record.lane % load.partitions as u64) as i32;
    let message = BaseRecord::with_opaque_to(&load.topic, Box::new(stamp))
        .partition(partition)
        .key(&record.key)
        .payload(&record.value);
    match client.send(message) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
        Err((error, _)) => Err(error),
    }
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
