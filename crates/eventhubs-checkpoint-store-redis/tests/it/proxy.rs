//! The address of a pair of servers, which leads to the one that is the master.

use std::sync::Arc;

use eventhubs_test_harness::RedisServer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// It ends with the runtime of the test.
pub(crate) struct Proxy {
    port: u16,
    target: Arc<watch::Sender<u16>>,
}

impl Proxy {
    pub(crate) async fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(watch::Sender::new(server.port()));
        tokio::spawn(accept(listener, Arc::clone(&target)));
        Self { port, target }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts all connections; later ones lead to this server.
    pub(crate) fn switch(&self, server: &RedisServer) {
        self.target.send_replace(server.port());
    }
}

async fn accept(listener: TcpListener, target: Arc<watch::Sender<u16>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut changes = target.subscribe();
        tokio::spawn(async move {
            let port = *changes.borrow_and_update();
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = changes.changed() => {}
            }
        });
    }
}
