use base::Incarnation;
use glommio::LocalExecutor;
use replication::Term;
use replication::cluster_log::message::{RaftBody, RaftMessage};

use super::*;

fn free_address() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("bound")
}

fn plan(node: u16, addresses: &[SocketAddr], secret: &str) -> LinkPlan {
    let others = addresses.iter().enumerate().filter(|(other, _)| *other != usize::from(node));
    LinkPlan {
        cluster: Uuid([1; 16]),
        node: NodeId(node),
        secret: Secret::new(secret.as_bytes()),
        journal: u64::from(node) + 1,
        listen: addresses[usize::from(node)],
        peers: others.map(|(other, address)| (NodeId(other as u16), *address)).collect(),
    }
}

async fn next(links: &Links, bell: &Bell) -> LinkEvent {
    loop {
        if let Some(event) = links.next_event() {
            return event;
        }
        bell.wait().await;
    }
}

async fn until_up(links: &Links, bell: &Bell, node: u16) {
    while !matches!(next(links, bell).await, LinkEvent::Up(up) if up == NodeId(node)) {}
}

fn message() -> ControlMessage {
    ControlMessage::Raft(RaftMessage {
        sender: Boot { journal: 1, boot: Incarnation(2) },
        receiver: 0,
        term: Term(3),
        body: RaftBody::Present { round: 4, last: LogIndex(5) },
    })
}

#[test]
fn nodes_find_each_other_whoever_starts_first_and_again_after_a_restart() {
    LocalExecutor::default().run(async {
        let addresses = [free_address(), free_address()];
        let (bell_0, bell_1) = (Rc::new(Bell::default()), Rc::new(Bell::default()));
        let zero = plan(0, &addresses, "s").start(Rc::clone(&bell_0), None).expect("a free port");
        glommio::timer::sleep(Duration::from_millis(120)).await;
        let one = plan(1, &addresses, "s").start(Rc::clone(&bell_1), None).expect("a free port");
        until_up(&zero, &bell_0, 1).await;
        zero.send(NodeId(1), &message());
        loop {
            if let LinkEvent::Said(from, said) = next(&one, &bell_1).await {
                assert_eq!((from, said), (NodeId(0), message()));
                break;
            }
        }
        drop(one);
        while !matches!(next(&zero, &bell_0).await, LinkEvent::Down(NodeId(1))) {}
        zero.send(NodeId(1), &message());
        let again =
            plan(1, &addresses, "s").start(Rc::clone(&bell_1), None).expect("the port is free");
        until_up(&zero, &bell_0, 1).await;
        zero.send(NodeId(1), &message());
        while !matches!(next(&again, &bell_1).await, LinkEvent::Said(NodeId(0), _)) {}
        assert!(again.next_event().is_none(), "what was said to nobody came after all");
    });
}

#[test]
fn a_node_with_another_secret_is_not_heard() {
    LocalExecutor::default().run(async {
        let addresses = [free_address(), free_address()];
        let (bell_0, bell_1) = (Rc::new(Bell::default()), Rc::new(Bell::default()));
        let zero = plan(0, &addresses, "one").start(Rc::clone(&bell_0), None).expect("a free port");
        let one = plan(1, &addresses, "two").start(Rc::clone(&bell_1), None).expect("a free port");
        glommio::timer::sleep(Duration::from_millis(300)).await;
        assert!(zero.next_event().is_none() && one.next_event().is_none());
    });
}
