//! The thread that owns the connection: it does one call after the other, and looks for hints between them.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::open::{self, Options};
use crate::queue::Job;
use crate::session::Session;
use crate::watch::{Looks, POLL_INTERVAL, Watchers};

/// What the thread is called in a list of threads; Linux shows 15 bytes.
const NAME: &str = "eventhubs-store";

/// Starts the thread, which ends when all senders of jobs are gone. Returns where it says whether the file
/// could be opened.
pub(crate) fn start(
    options: Options,
    jobs: Receiver<Job>,
    watchers: Watchers,
) -> Result<oneshot::Receiver<Result<()>>> {
    let (reply, is_open) = oneshot::channel();
    let work = move || match open::open(&options) {
        // Whoever waits may have left: then the senders are gone too, and the loop ends at once.
        Ok(session) => {
            let _ = reply.send(Ok(()));
            run(session, &jobs, &watchers);
        }
        Err(error) => drop(reply.send(Err(error))),
    };
    let started = thread::Builder::new().name(NAME.to_owned()).spawn(work);
    started.map_err(|source| {
        Error::new(ErrorKind::Unavailable, "start the thread of the store").with_source(source)
    })?;
    Ok(is_open)
}

fn run(mut session: Session, jobs: &Receiver<Job>, watchers: &Watchers) {
    let mut looks = Looks::default();
    loop {
        let next = if watchers.any() {
            jobs.recv_timeout(POLL_INTERVAL)
        } else {
            jobs.recv().map_err(RecvTimeoutError::from)
        };
        let has_worked = match next {
            Ok(job) => {
                job.run(&mut session);
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            // The last clone of the store is gone, and nothing is left in the queue.
            Err(RecvTimeoutError::Disconnected) => return,
        };
        looks.look(session.connection(), watchers, has_worked);
    }
}
