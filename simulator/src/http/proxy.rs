//! An HTTP proxy that leads every host to this simulator, for clients with a hard-coded login host.
//!
//! `CONNECT` (1.0 or 1.1) opens a tunnel, whose first byte says whether TLS is spoken in it; a request with an absolute URI is passed to
//! the plain listener as it is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const MAX_HEAD: usize = 16 << 10;
const TLS_HANDSHAKE: u8 = 0x16;

pub(crate) async fn run(listener: TcpListener, http: SocketAddr, https: SocketAddr, stop: CancellationToken) {
    let mut tunnels = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
            Some(_) = tunnels.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, mostly: a short rest, or this loop would spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tunnels.spawn(async move {
            if let Err(error) = tunnel(stream, http, https).await {
                tracing::debug!(%error, "proxied connection ended with an error");
            }
        });
    }
    tunnels.shutdown().await;
}

async fn tunnel(mut client: TcpStream, http: SocketAddr, https: SocketAddr) -> io::Result<()> {
    let head = read_head(&mut client).await?;
    if !head.starts_with(b"CONNECT ") {
        let mut server = TcpStream::connect(http).await?;
        server.write_all(&head).await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let mut first = [0];
    if client.peek(&mut first).await? == 0 {
        return Ok(());
    }
    let target = if first[0] == TLS_HANDSHAKE { https } else { http };
    let mut server = TcpStream::connect(target).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Everything up to the empty line, and for a plain request what came with it.
async fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1 << 10);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || client.read_buf(&mut head).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a proxy request"));
        }
    }
    Ok(head)
}
