use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A blocking stream that can be asked whether something came in.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    pub(super) fn new(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let Some(config) = tls else {
            return Ok(Self::Plain(stream));
        };
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Waits until there is something to read, at most this long; without a limit if `None`.
    pub(super) fn is_readable(&self, wait: Option<Duration>) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.socket().as_fd(), PollFlags::POLLIN)];
        Ok(ppoll(&mut fds, wait.map(TimeSpec::from), None)? > 0)
    }

    /// Appends what came in; nothing means that the peer has closed.
    pub(super) fn read_into(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        let before = input.len();
        input.resize(before + 64 * 1024, 0);
        let read = match self {
            Self::Plain(stream) => stream.read(&mut input[before..]),
            Self::Tls(stream) => stream.read(&mut input[before..]),
        };
        input.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}
