//! Many registered functions, made as anybody would make them: by `CreateFunction`, signed.

use crate::{
    Failure,
    load::{Lines, Until},
    requests::Caller,
    server::Server,
};
use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// Requests at a time.
const CONNECTIONS: usize = 16;
/// Longest wait for all of them to be active.
const ACTIVE_LIMIT: Duration = Duration::from_secs(900);

/// Makes functions of one small Python package.
pub struct Registry {
    caller: Caller,
    runtime: String,
    zip_base64: String,
    made: usize,
}

impl Registry {
    /// Packs the source; `runtime` is that of a function deployed before.
    pub fn new(server: &Server, runtime: &str) -> Result<Self, Failure> {
        let folder = server.sources().join("registry");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("app.py"), include_str!("../functions/app.py"))?;
        // Python packs, and prints the package as the wire wants it.
        let pack = "import base64, io, zipfile\n\
            out = io.BytesIO()\n\
            with zipfile.ZipFile(out, 'w') as package: package.write('app.py')\n\
            print(base64.b64encode(out.getvalue()).decode())";
        let packed = Command::new("python3")
            .args(["-c", pack])
            .current_dir(&folder)
            .output()?;
        if !packed.status.success() {
            return Err(String::from_utf8_lossy(&packed.stderr).into_owned().into());
        }
        Ok(Self {
            caller: server.caller(),
            runtime: runtime.to_owned(),
            zip_base64: String::from_utf8(packed.stdout)?.trim().to_owned(),
            made: 0,
        })
    }

    /// The name of the function of a number.
    pub fn name(at: usize) -> String {
        format!("registered-{at:06}")
    }

    /// Makes functions until there are `all`; how long that took.
    pub fn grow_to(&mut self, server: &Server, all: usize) -> Result<Duration, Failure> {
        let first = self.made;
        let wanted = all.saturating_sub(first);
        let mut failed = None;
        let mut lines = Lines::open(server.address(), CONNECTIONS)?;
        let came = lines.run(
            Until::Calls(wanted),
            |at| match self.create(first + at) {
                Ok(request) => request,
                Err(failure) => {
                    failed.get_or_insert(failure);
                    Arc::from(&b""[..])
                }
            },
            |_| true,
        )?;
        if let Some(failure) = failed {
            return Err(failure);
        }
        let took = came.took;
        came.all_good()?;
        self.made = self.made.max(all);
        Ok(took)
    }

    /// Calls a server that was started again.
    pub fn follow(&mut self, server: &Server) {
        self.caller = server.caller();
    }

    /// Makes one more and invokes it once it is active: the time of each.
    pub fn one_more(&mut self, server: &Server) -> Result<(Duration, Duration), Failure> {
        let made = self.grow_to(server, self.made + 1)?;
        let begun = Instant::now();
        let name = Self::name(self.made - 1);
        let mut lines = Lines::open(server.address(), 1)?;
        loop {
            let request = self.caller.invoke(&name, b"{}")?;
            let came = lines.run(Until::Calls(1), |_| request.clone(), |_| true)?;
            if came.good() == 1 {
                return Ok((made, begun.elapsed()));
            }
            if begun.elapsed() > ACTIVE_LIMIT {
                return Err(format!("{name}: {:?}", came.first_wrong).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn create(&self, at: usize) -> Result<Arc<[u8]>, Failure> {
        let body = format!(
            r#"{{"FunctionName":"{}","Runtime":"{}","Role":"arn:aws:iam::000000000000:role/bench","Handler":"app.handler","MemorySize":128,"Code":{{"ZipFile":"{}"}}}}"#,
            Self::name(at),
            self.runtime,
            self.zip_base64
        );
        self.caller.post("/2015-03-31/functions", body.as_bytes())
    }

    /// Waits until the last one can be invoked: they are made ready in order.
    pub fn until_active(&self, server: &Server) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let Some(last) = self.made.checked_sub(1) else {
            return Ok(Duration::ZERO);
        };
        let mut lines = Lines::open(server.address(), 1)?;
        loop {
            let request = self.caller.invoke(&Self::name(last), b"{}")?;
            let came = lines.run(Until::Calls(1), |_| request.clone(), |_| true)?;
            if came.good() == 1 {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > ACTIVE_LIMIT {
                return Err(format!("not active: {:?}", came.first_wrong).into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
