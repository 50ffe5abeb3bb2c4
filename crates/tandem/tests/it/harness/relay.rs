//! Relays that can be cut: what lies between a browser and the server when the network fails, for datagrams (media) and for
//! connections (signalling).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Largest datagram.
const DATAGRAM: usize = 2_048;

/// A relay to one server; each client has a socket of its own behind it.
pub(crate) struct Relay {
    pub(crate) port: u16,
    cut: Arc<AtomicBool>,
    _work: JoinSet<()>,
}

impl Relay {
    /// Starts one to a server.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = front.local_addr().unwrap().port();
        let cut = Arc::<AtomicBool>::default();
        let mut work = JoinSet::new();
        work.spawn(forward(front, server, Arc::clone(&cut)));
        Self { port, cut, _work: work }
    }

    /// Loses every datagram from now on, or none again.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

async fn forward(front: Arc<UdpSocket>, server: SocketAddr, cut: Arc<AtomicBool>) {
    let mut behind: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut returning = JoinSet::new();
    let mut buffer = [0; DATAGRAM];
    loop {
        let Ok((length, client)) = front.recv_from(&mut buffer).await else { continue };
        if cut.load(Ordering::Relaxed) {
            continue;
        }
        let socket = match behind.entry(client) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                returning.spawn(give_back(Arc::clone(&socket), Arc::clone(&front), client, Arc::clone(&cut)));
                Arc::clone(place.insert(socket))
            }
        };
        let _gone = socket.send_to(&buffer[..length], server).await;
    }
}

async fn give_back(socket: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr, cut: Arc<AtomicBool>) {
    let mut buffer = [0; DATAGRAM];
    while let Ok(length) = socket.recv(&mut buffer).await {
        if !cut.load(Ordering::Relaxed) {
            let _gone = front.send_to(&buffer[..length], client).await;
        }
    }
}

/// A relay of connections to one server.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    cut: watch::Sender<bool>,
    _work: JoinSet<()>,
}

impl Wire {
    /// Starts one to a server.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let mut work = JoinSet::new();
        work.spawn(accept(listener, server, is_cut));
        Self { address, cut, _work: work }
    }

    /// Ends every connection and takes none from now on, or takes them again.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, is_cut: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        connections.spawn(join(client, server, is_cut.clone()));
    }
}

/// Joins a client with the server until one of them ends, or the wire is cut.
async fn join(mut client: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    if *is_cut.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _cut = is_cut.wait_for(|cut| *cut) => {}
    }
}
