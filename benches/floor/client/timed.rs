//! Publishes at a rate, timed to their last delivery, while connections come and go.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanwire::stdx::clock;
use rustix::net::{RecvFlags, recv};
use rustix::time::Timespec;

use super::conversation::NS;
use super::crowd::Crowd;
use super::rounds::Publisher;
use crate::scenario::Door;
use crate::wire;

/// How long a connection stays that comes and goes.
const STAY: Duration = Duration::from_secs(1);

/// A topic that nobody publishes to.
const CHURN_TOPIC: usize = 500;

/// Tokens of those who come and go, and of the publisher, start here.
const CHURN_TOKEN: u64 = 1 << 40;

/// How publishes are spaced.
pub(crate) struct Timing {
    pub(crate) count: usize,
    pub(crate) per_second: u32,
    /// Deliveries of one publish.
    pub(crate) per_publish: u64,
}

/// Connections that come and go.
pub(crate) struct Churn {
    address: SocketAddr,
    interval: Duration,
    publisher_token: u64,
    open: VecDeque<(Instant, u64, TcpStream)>,
    next_token: u64,
}

impl Churn {
    pub(crate) fn new(address: SocketAddr, per_second: u32, subscriber_count: usize) -> Churn {
        Churn {
            address,
            interval: Duration::from_secs(1) / per_second.max(1),
            publisher_token: subscriber_count as u64,
            open: VecDeque::new(),
            next_token: CHURN_TOKEN,
        }
    }

    fn come(&mut self, crowd: &Crowd, now: Instant) {
        let mut socket = TcpStream::connect(self.address).expect("the server accepts");
        let topic = wire::topic(CHURN_TOPIC);
        let mut request = wire::head(Door::WebSocket, &topic);
        request.extend(wire::subscribe(&topic));
        socket.write_all(&request).expect("the server reads");
        crowd.watch(&socket, self.next_token);
        self.open.push_back((now, self.next_token, socket));
        self.next_token += 1;
        while self.open.front().is_some_and(|(came, ..)| now - *came > STAY) {
            self.open.pop_front();
        }
    }

    /// Throws away what one of them was sent.
    fn read(&self, token: u64) {
        if let Some((.., socket)) = self.open.iter().find(|(_, own, _)| *own == token) {
            // Whatever it is; an end shows when it goes.
            let _ = recv(socket, &mut [0; 4096][..], RecvFlags::DONTWAIT);
        }
    }
}

/// Plays; nanoseconds from each publish's write to the read of its last delivery.
pub(crate) fn play(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    request: &[u8],
    timing: &Timing,
    mut churn: Churn,
) -> Vec<f64> {
    let interval = Duration::from_secs(1) / timing.per_second;
    let began = clock::now();
    let (mut next_publish, mut next_connect) = (began, began);
    let mut waiting: VecDeque<(Instant, u64)> = VecDeque::new();
    let mut total = crowd.received();
    let mut latencies = Vec::with_capacity(timing.count);
    let (mut published, mut answered) = (0, 0);
    // An answer left unread would keep this client awake through the other server's round.
    while latencies.len() < timing.count || answered < timing.count {
        let now = clock::now();
        if now >= next_connect {
            churn.come(crowd, now);
            next_connect += churn.interval;
        }
        if published < timing.count && now >= next_publish {
            total += timing.per_publish;
            waiting.push_back((clock::now(), total));
            publisher.write(request);
            published += 1;
            next_publish += interval;
        }
        let next =
            if published < timing.count { next_publish.min(next_connect) } else { next_connect };
        let wait = next.saturating_duration_since(clock::now());
        // While deliveries are owed it never sleeps: to be woken for each would cost both servers an
        // interrupt per send, and this client most of what is timed.
        let wait = if waiting.is_empty() { wait } else { Duration::ZERO };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        crowd.take(Some(&timeout));
        for token in crowd.others() {
            if token == churn.publisher_token {
                answered += publisher.read();
            } else {
                churn.read(token);
            }
        }
        let received = crowd.received();
        while let Some((sent, total)) = waiting.front()
            && received >= *total
        {
            latencies.push(sent.elapsed().as_secs_f64() * NS);
            waiting.pop_front();
        }
    }
    latencies
}
