//! The bare echo: the least that an HTTP answer costs on this machine, with the same libraries.

use crate::{Failure, client::Target, processes::Payer};
use axum::{Router, body::Bytes, routing::any};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};
use tokio::net::TcpListener;

/// Serves until killed; the first line of output is the address.
pub async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    // The second handler's answer: 20 KB, whatever came in.
    let twenty = Bytes::from(vec![b'x'; 20_011]);
    let app = Router::new()
        .route("/work", any(|_: Bytes| async move { twenty.clone() }))
        .fallback(any(|body: Bytes| async { body }));
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        app,
    )
    .await?;
    Ok(())
}

/// The echo as a process of its own.
pub struct Echo {
    child: Child,
    /// Where it answers.
    pub target: Target,
}

impl Echo {
    /// Starts this program again as the echo.
    pub fn start() -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("echo")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the echo has no output")?)
            .read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self {
            child,
            target: Target {
                address,
                host: address.to_string(),
                path: "/".to_owned(),
            },
        })
    }
}

impl Echo {
    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Whose processor time its answers cost.
    pub fn payer(&self) -> Payer {
        Payer::Program(self.pid())
    }

    /// Where it answers with 20 KB, whatever comes.
    pub fn work(&self) -> Target {
        Target {
            path: "/work".to_owned(),
            ..self.target.clone()
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
