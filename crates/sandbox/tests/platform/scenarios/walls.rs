//! Walls that are seen best from where no list of tries runs: in programs that raise, and before any
//! program runs at all.

use super::*;
use crate::parked;

/// Programs that make anybody root, and that give all of root's privileges, give nothing to an instance,
/// executed or thawed.
pub fn raised() {
    platform(SERVER, async |pool| {
        let (instance, io) = start(&pool, spec(SERVER, 0, &["raise"])).await;
        let said = read_until(&io.stdout, "end\n").await;
        let lines: Vec<&str> = said.lines().collect();
        let [own, setuid, by_setuid, capable, by_capable, "end"] = lines[..] else {
            panic!("{said}")
        };
        // They are there as they were made, and ran.
        assert_eq!(setuid, "/setuid Ok(\"6755 of 0\")");
        assert_eq!(capable, "/capable Ok(\"755 of 0\")");
        let nothing = "CapPrm: 0000000000000000 CapEff: 0000000000000000 CapBnd: 0000000000000000";
        assert!(own.contains(nothing) && own.contains("NoNewPrivs: 1 Seccomp: 2"));
        assert!(!own.contains("Uid: 0 "), "{own}");
        assert_eq!((by_setuid, by_capable), (own, own));
        instance.destroy().await;
    });
}

/// What the host's Python says of the same.
pub const RAISE: &str = "
import subprocess
who = [subprocess.run([p, 'guest', 'ids'], capture_output=True, text=True).stdout for p in ('/opt/setuid', '/opt/capable')]
status = dict(l.split(':', 1) for l in open('/proc/self/status'))
own = ' '.join(status['Uid'].split())
out = all(w.startswith(f'Uid: {own} ') and 'CapEff: 0000000000000000' in w for w in who), oct(os.stat('/opt/setuid').st_mode), own.split()[0] != '0'";
/// That it raises nobody, and has set out to.
pub const RAISED_NOBODY: &str = "(True, '0o106755', True)";

/// The same from an instance that was thawed, and from the process that its image was taken of while it
/// initialised.
pub fn raised_when_thawed() {
    let init = format!("{RAISE}\nassert str(out) == \"{RAISED_NOBODY}\", out");
    images::with_thawed(&init, async |talk| {
        assert_eq!(talk.ask(RAISE).await, RAISED_NOBODY);
    });
}

/// What waits to become somebody's instance has nothing left to lose, seen from outside: nobody can look
/// from inside yet.
pub fn parked() {
    platform(0, async |_pool| {
        let until = Instant::now() + Duration::from_secs(20);
        // Of each runtime that can be started one, on both lanes.
        let all = loop {
            let all = parked::all_below(std::process::id() as i32);
            if all.len() >= 6 {
                break all;
            }
            assert!(Instant::now() < until, "{} are parked", all.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        for (init, guest) in all {
            let faults = parked::faults(init, guest);
            assert!(faults.is_empty(), "{init} {guest}: {faults:#?}");
        }
    });
}
