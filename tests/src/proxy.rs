//! A proxy in front of a server of the ground, PostgreSQL or S3, which can lose the server's answer to a request.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A transaction's end as PostgreSQL's protocol has it: a simple query.
pub const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
pub const PUT: &[u8] = b"PUT /";

/// It ends when this is dropped.
pub struct FaultProxy {
    pub address: SocketAddr,
    plan: Arc<Plan>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Plan {
    request: Mutex<Option<&'static [u8]>>,
    lost: AtomicUsize,
}

impl FaultProxy {
    /// # Panics
    /// When no port is free.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let plan = Arc::new(Plan::default());
        let shared = Arc::clone(&plan);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let plan = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A connection that ends in an error has ended all the same.
                    let _ = plan.relay(client, server).await;
                });
            }
        });
        Self { address, plan, accepting }
    }

    /// The next request that holds these bytes takes effect, and its answer is lost with the connection.
    pub fn lose_answer_to(&self, request: &'static [u8]) {
        self.plan.lost.store(0, Ordering::SeqCst);
        *self.plan.request() = Some(request);
    }

    /// Lets everything through again, and says how many answers were lost.
    pub fn let_through(&self) -> usize {
        *self.plan.request() = None;
        self.plan.lost.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Plan {
    fn request(&self) -> std::sync::MutexGuard<'_, Option<&'static [u8]>> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the answer to what was just read is the one to lose. Only one is.
    fn meets(&self, read: &[u8]) -> bool {
        let mut request = self.request();
        let met = request.is_some_and(|wanted| read.windows(wanted.len()).any(|window| window == wanted));
        if met {
            *request = None;
        }
        met
    }

    async fn relay(&self, mut client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
        let mut losing = false;
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let read = read?;
                    losing |= self.meets(&asked[..read]);
                    if read == 0 {
                        return Ok(());
                    }
                    server.write_all(&asked[..read]).await?;
                }
                read = server.read(&mut answered) => {
                    let read = read?;
                    if losing {
                        self.lost.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    if read == 0 {
                        return Ok(());
                    }
                    client.write_all(&answered[..read]).await?;
                }
            }
        }
    }
}
