//! One keep-alive HTTP/1.1 connection for publishing, with requests in flight in order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::sys::{Epoll, Interest};
use crate::wire::chunked::Chunked;
use crate::wire::response::{self, Framing, Head};

/// Bytes of an error's body that are kept for the report.
const BODY_EXCERPT_SIZE: usize = 300;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection whose requests carry `R`, given back with their answers.
pub struct PublishConnection<R> {
    target: SocketAddr,
    token: u64,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    tail: Vec<u8>,
    in_flight: VecDeque<R>,
    body: Option<Body>,
    is_waiting: bool,
    framing: AnswerFraming,
}

/// Which answers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFraming {
    /// Their bodies say where they end.
    Delimited,
    /// Also those whose bodies end with the connection, RFC 9112 §6.3: their heads say enough.
    Any,
}

/// An answer whose body is still being read.
struct Body {
    head: Head,
    remaining: u64,
    chunked: Chunked,
    excerpt: Vec<u8>,
}

/// What a read has brought.
pub enum Answer<R> {
    /// Nothing complete yet.
    Waiting,
    /// The answer to the oldest request in flight.
    Complete {
        /// Status code.
        status: u16,
        /// The first few hundred bytes of the body.
        body: String,
        /// Whether the server will close now.
        closes: bool,
        /// What was given with the request.
        request: R,
    },
}

impl<R> PublishConnection<R> {
    /// Connects; waits at most three seconds.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn open(
        target: SocketAddr,
        token: u64,
        epoll: &Epoll,
        framing: AnswerFraming,
    ) -> io::Result<PublishConnection<R>> {
        let mut connection = PublishConnection {
            target,
            token,
            stream: None,
            out: Vec::new(),
            tail: Vec::new(),
            in_flight: VecDeque::new(),
            body: None,
            is_waiting: false,
            framing,
        };
        connection.reopen(epoll)?;
        Ok(connection)
    }

    /// Connects again; nothing may be in flight.
    ///
    /// # Errors
    /// When the server cannot be reached; the next flush tries again.
    pub fn reopen(&mut self, epoll: &Epoll) -> io::Result<()> {
        self.stream = None;
        let stream = TcpStream::connect_timeout(&self.target, CONNECT_TIMEOUT)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(stream.as_raw_fd(), self.token, Interest::Read)?;
        (self.stream, self.is_waiting) = (Some(stream), false);
        Ok(())
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Requests without an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Notes a request; the caller appends its bytes.
    pub fn request(&mut self, request: R) -> &mut Vec<u8> {
        self.in_flight.push_back(request);
        &mut self.out
    }

    /// Forgets everything in flight and answers it.
    pub fn abandon(&mut self) -> Vec<R> {
        self.out.clear();
        self.tail.clear();
        self.body = None;
        self.stream = None;
        self.in_flight.drain(..).collect()
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self, epoll: &Epoll) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else {
            return Err(io::Error::from(io::ErrorKind::NotConnected));
        };
        match stream.write(&self.out) {
            Ok(count) => drop(self.out.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let is_waiting = !self.out.is_empty();
        if is_waiting != self.is_waiting {
            let interest = if is_waiting { Interest::ReadWrite } else { Interest::Read };
            epoll.modify(stream.as_raw_fd(), self.token, interest)?;
            self.is_waiting = is_waiting;
        }
        Ok(())
    }

    /// Reads and answers the next complete answer.
    ///
    /// # Errors
    /// When the connection is broken, closed, or does not speak HTTP/1.1.
    pub fn read(&mut self) -> io::Result<Answer<R>> {
        loop {
            if let Some(answer) = self.next_answer().map_err(io::Error::other)? {
                return Ok(answer);
            }
            let Some(stream) = &mut self.stream else { return Ok(Answer::Waiting) };
            let mut piece = [0; 16 * 1024];
            match stream.read(&mut piece) {
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                Ok(count) => self.tail.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Answer::Waiting);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn next_answer(&mut self) -> Result<Option<Answer<R>>, &'static str> {
        if self.body.is_none() {
            let Some(mut head) = response::parse(&self.tail)? else { return Ok(None) };
            self.tail.drain(..head.size);
            if (100..200).contains(&head.status) {
                return self.next_answer();
            }
            let remaining = match head.framing {
                Framing::Length(length) => length,
                Framing::Chunked => 0,
                Framing::UntilClose if self.framing == AnswerFraming::Any => {
                    head.closes = true;
                    0
                }
                Framing::UntilClose => return Err("an answer without a length"),
            };
            let (chunked, excerpt) = (Chunked::default(), Vec::new());
            self.body = Some(Body { head, remaining, chunked, excerpt });
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        if !body.read(&mut self.tail)? {
            return Ok(None);
        }
        let Some(body) = self.body.take() else { return Ok(None) };
        let request = self.in_flight.pop_front().ok_or("an answer nobody asked for")?;
        let excerpt = &body.excerpt[..body.excerpt.len().min(BODY_EXCERPT_SIZE)];
        Ok(Some(Answer::Complete {
            status: body.head.status,
            body: String::from_utf8_lossy(excerpt).into_owned(),
            closes: body.head.closes,
            request,
        }))
    }
}

impl Body {
    /// Takes its bytes from `input`; answers whether it is complete.
    fn read(&mut self, input: &mut Vec<u8>) -> Result<bool, &'static str> {
        if self.head.framing == Framing::Chunked {
            let used = self.chunked.decode(input, &mut self.excerpt)?;
            self.excerpt.truncate(BODY_EXCERPT_SIZE);
            input.drain(..used);
            return Ok(self.chunked.is_done());
        }
        let take = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len());
        let keep = take.min(BODY_EXCERPT_SIZE.saturating_sub(self.excerpt.len()));
        self.excerpt.extend_from_slice(&input[..keep]);
        input.drain(..take);
        self.remaining -= take as u64;
        Ok(self.remaining == 0)
    }
}
