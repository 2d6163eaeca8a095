use base::TopicNumber;
use base::batch::{BatchBuilder, sequenced_prefix};

use super::*;

const P: PartitionId = PartitionId::new(TopicNumber(1), 0);

fn batch(id: SentId, count: u32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for _ in 0..count {
        builder.push(0, None, Some(&id.0.to_be_bytes()), &[]);
    }
    builder.build()
}

fn stored(id: SentId, count: u32, base: u64, epoch: u32) -> Vec<u8> {
    let mut bytes = batch(id, count);
    let prefix = sequenced_prefix(&Batch::parse(&bytes).unwrap(), Offset(base), Epoch(epoch));
    bytes[..16].copy_from_slice(&prefix);
    bytes
}

fn ledger(keep: Keep) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.open(P, keep);
    ledger
}

fn send(ledger: &mut Ledger, order: u64, count: u32) -> SentId {
    let sender = Sender { producer: 1, order, connection: 0, idempotent: true };
    send_by(ledger, sender, count)
}

fn send_by(ledger: &mut Ledger, sender: Sender, count: u32) -> SentId {
    let bytes = batch(ledger.next_id(), count);
    ledger.send(P, sender, &Batch::parse(&bytes).unwrap())
}

fn wall(ms: i64) -> Now {
    Now { mono: Instant(0), wall: BrokerTime(ms) }
}

fn checker(result: Result<impl std::fmt::Debug, Violation>) -> Checker {
    result.unwrap_err().checker
}

#[test]
fn an_acked_batch_must_be_there_and_be_itself() {
    let mut ledger = ledger(Keep::default());
    let (a, b) = (send(&mut ledger, 0, 2), send(&mut ledger, 1, 1));
    ledger.acked(a, Offset(0)).unwrap();
    ledger.acked(b, Offset(2)).unwrap();
    let log = [stored(a, 2, 0, 0), stored(b, 1, 2, 1)].concat();
    assert_eq!(ledger.saw(P, Offset(1), &log), Ok(Offset(3)));
    ledger.saw_end(P, Offset(3)).unwrap();
    assert_eq!(checker(ledger.saw_end(P, Offset(2))), Checker::Durable);

    let mut flipped = log.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert_eq!(checker(ledger.saw(P, Offset(0), &flipped)), Checker::Durable);
    let swapped = [stored(b, 1, 0, 0)].concat();
    assert_eq!(checker(ledger.saw(P, Offset(0), &swapped)), Checker::Once);
    let hole = stored(b, 1, 2, 1);
    assert_eq!(checker(ledger.saw(P, Offset(0), &hole)), Checker::Offsets);
}

#[test]
fn what_was_seen_must_stay_as_if_acked() {
    let mut ledger = ledger(Keep::default());
    let a = send(&mut ledger, 0, 1);
    ledger.saw(P, Offset(0), &stored(a, 1, 0, 0)).unwrap();
    assert_eq!(ledger.end(P), Offset(1));
    assert_eq!(checker(ledger.saw_end(P, Offset(0))), Checker::Durable);
}

#[test]
fn a_refused_batch_must_not_appear() {
    let mut ledger = ledger(Keep::default());
    let a = send(&mut ledger, 0, 1);
    ledger.refused(a);
    assert_eq!(checker(ledger.saw(P, Offset(0), &stored(a, 1, 0, 0))), Checker::Offsets);
}

#[test]
fn producers_keep_their_order_and_leave_no_gap() {
    let mut ledger = ledger(Keep::default());
    let (a, b, c) = (send(&mut ledger, 0, 1), send(&mut ledger, 1, 1), send(&mut ledger, 2, 1));
    ledger.acked(c, Offset(1)).unwrap();
    assert_eq!(checker(ledger.acked(b, Offset(2))), Checker::Order);
    ledger.acked(a, Offset(0)).unwrap();
    assert_eq!(checker(ledger.saw_end(P, Offset(2))), Checker::Order);
}

/// Of two batches on one connection and a third on the next, the third acked first.
fn overtaken(idempotent: bool) -> (Ledger, [SentId; 2]) {
    let mut ledger = ledger(Keep::default());
    let mut send = |order, connection| {
        let sender = Sender { producer: 1, order, connection, idempotent };
        send_by(&mut ledger, sender, 1)
    };
    let late = [send(0, 0), send(1, 0)];
    let younger = send(2, 1);
    ledger.acked(younger, Offset(0)).unwrap();
    (ledger, late)
}

#[test]
fn what_a_lost_connection_left_may_come_late_in_its_own_order() {
    let (mut ledger, [a, b]) = overtaken(false);
    ledger.saw(P, Offset(1), &stored(b, 1, 1, 0)).unwrap();
    assert_eq!(checker(ledger.saw(P, Offset(2), &stored(a, 1, 2, 0))), Checker::Order);

    let (mut ledger, [a, b]) = overtaken(false);
    ledger.saw(P, Offset(1), &stored(a, 1, 1, 0)).unwrap();
    ledger.saw(P, Offset(2), &stored(b, 1, 2, 0)).unwrap();
}

#[test]
fn an_idempotent_producer_is_never_overtaken() {
    let (mut ledger, [a, _]) = overtaken(true);
    assert_eq!(checker(ledger.saw(P, Offset(1), &stored(a, 1, 1, 0))), Checker::Order);
}

#[test]
fn nothing_comes_late_out_of_an_earlier_life_or_behind_an_answer() {
    let sender = Sender { producer: 1, order: 3, connection: 2, idempotent: false };
    let (mut ledger, [a, _]) = overtaken(false);
    ledger.restarted();
    let next_life = send_by(&mut ledger, sender, 1);
    ledger.acked(next_life, Offset(1)).unwrap();
    assert_eq!(checker(ledger.saw(P, Offset(2), &stored(a, 1, 2, 0))), Checker::Order);

    let (mut ledger, [a, b]) = overtaken(false);
    ledger.acked(a, Offset(5)).unwrap();
    let behind = send_by(&mut ledger, sender, 1);
    assert_eq!(checker(ledger.acked(behind, Offset(4))), Checker::Order);
    ledger.acked(b, Offset(6)).unwrap();
}

#[test]
fn epochs_never_fall_along_the_log() {
    let mut ledger = ledger(Keep::default());
    let (a, b) = (send(&mut ledger, 0, 1), send(&mut ledger, 1, 1));
    let log = [stored(a, 1, 0, 5), stored(b, 1, 1, 4)].concat();
    assert_eq!(checker(ledger.saw(P, Offset(0), &log)), Checker::Offsets);
}

#[test]
fn only_old_crowded_or_unwanted_data_may_be_removed() {
    let mut by_age = ledger(Keep { ms: Some(100), bytes: None });
    let a = send(&mut by_age, 0, 1);
    by_age.acked(a, Offset(0)).unwrap();
    by_age.tell_time(wall(99));
    assert_eq!(checker(by_age.saw_start(P, Offset(1))), Checker::Retention);
    by_age.tell_time(wall(100));
    by_age.saw_start(P, Offset(1)).unwrap();
    assert_eq!(checker(by_age.saw_start(P, Offset(0))), Checker::Retention);

    let mut by_size = ledger(Keep { ms: None, bytes: Some(80) });
    let (a, b) = (send(&mut by_size, 0, 1), send(&mut by_size, 1, 1));
    by_size.acked(a, Offset(0)).unwrap();
    by_size.acked(b, Offset(1)).unwrap();
    assert_eq!(checker(by_size.saw_start(P, Offset(2))), Checker::Retention);
    by_size.saw_start(P, Offset(1)).unwrap_err();
    send(&mut by_size, 2, 1);
    by_size.saw_start(P, Offset(1)).unwrap();

    let mut asked = ledger(Keep::default());
    let a = send(&mut asked, 0, 3);
    asked.acked(a, Offset(0)).unwrap();
    asked.delete_requested(P, Offset(2));
    asked.saw_start(P, Offset(2)).unwrap();
    assert_eq!(checker(asked.saw_start(P, Offset(3))), Checker::Retention);
}
