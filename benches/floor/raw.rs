//! The floor: a loop that does nothing but send.
//!
//! It reads commands of 12 bytes on its standard input (messages, frame size, frames per send) and
//! answers one byte when all sends are done.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::net::TcpStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::settings::Mode;

/// Serves: first line of standard output is the port, first command says how many will connect.
pub(crate) fn serve(mode: Mode) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", listener.local_addr().expect("bound").port()).expect("a reader");
    out.flush().expect("a reader");
    let mut input = std::io::stdin().lock();
    let mut command = [0; 12];
    input.read_exact(&mut command).expect("the count of connections");
    let connection_count = word(&command, 0);
    let sockets: Vec<TcpStream> = (0..connection_count)
        .map(|_| {
            let (socket, _) = listener.accept().expect("a connection");
            socket.set_nodelay(true).expect("a TCP socket");
            socket.set_nonblocking(true).expect("a TCP socket");
            socket
        })
        .collect();
    while input.read_exact(&mut command).is_ok() {
        let (message_count, frame_size) = (word(&command, 0), word(&command, 4));
        let run_len = word(&command, 8).max(1);
        let block = vec![b'x'; frame_size * run_len];
        let mut left = message_count;
        while left > 0 {
            let frames = run_len.min(left);
            let block = &block[..frames * frame_size];
            for socket in &sockets {
                send_all(socket, block);
            }
            left -= frames;
            if mode == Mode::Paced {
                // The client says when all have it.
                out.write_all(&[1]).expect("a reader");
                out.flush().expect("a reader");
                input.read_exact(&mut [0]).expect("the next round");
            }
        }
        out.write_all(&[2]).expect("a reader");
        out.flush().expect("a reader");
    }
}

fn word(command: &[u8; 12], at: usize) -> usize {
    let bytes = command[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(bytes) as usize
}

fn send_all(socket: &TcpStream, mut block: &[u8]) {
    while !block.is_empty() {
        match send(socket, block, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => block = &block[sent..],
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(socket, PollFlags::OUT)];
                poll(&mut fds, None).expect("a socket");
            }
            Err(errno) => panic!("send: {errno}"),
        }
    }
}
