//! A sink in its place, and what properties do with it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use eventhubs_types::EventBody;

use crate::testkit::{Messages, Place};
use crate::{DeadLetter, DeadLetterSink};

type Local<T> = Pin<Box<dyn Future<Output = T>>>;
type Open = dyn Fn(Place) -> Local<Arc<dyn DeadLetterSink>> + Send + Sync;
type Read = dyn Fn(Place) -> Local<Vec<DeadLetter>> + Send + Sync;

/// What a property works with: an open sink, and a way to read what it kept.
pub struct Scene {
    sink: Option<Arc<dyn DeadLetterSink>>,
    place: Place,
    open: Arc<Open>,
    read: Arc<Read>,
    messages: Messages,
}

impl Scene {
    pub(crate) async fn open<S, O, R>(
        open: impl Fn(Place) -> O + Send + Sync + 'static,
        read: impl Fn(Place) -> R + Send + Sync + 'static,
        messages: Messages,
    ) -> Self
    where
        S: DeadLetterSink,
        O: Future<Output = S> + 'static,
        R: Future<Output = Vec<DeadLetter>> + 'static,
    {
        let open: Arc<Open> = Arc::new(move |place| {
            let sink = open(place);
            Box::pin(async move { Arc::new(sink.await) as Arc<dyn DeadLetterSink> })
        });
        let read: Arc<Read> = Arc::new(move |place| Box::pin(read(place)));
        let place = Place::unused();
        let sink = Some(open(place.clone()).await);
        Self { sink, place, open, read, messages }
    }

    /// The sink.
    pub(crate) fn sink(&self) -> Arc<dyn DeadLetterSink> {
        Arc::clone(self.sink.as_ref().expect("it is open between restarts"))
    }

    pub(crate) async fn put(&self, letter: &DeadLetter) {
        self.sink().put(letter).await.expect("a letter is taken");
    }

    /// Ends the sink and opens it again, as another process would.
    pub(crate) async fn restart(&mut self) {
        self.sink = None;
        self.sink = Some((self.open)(self.place.clone()).await);
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        (self.read)(self.place.clone()).await
    }

    /// Whether a letter came back as it was put. A sink may keep the names of a scope in lower case, as the service compares
    /// them.
    pub(crate) fn is_same(&self, kept: &DeadLetter, put: &DeadLetter) -> bool {
        let is_compared =
            self.messages == Messages::Kept || matches!(put.event().body, EventBody::Undecodable(_));
        let comparable = |letter: &DeadLetter| {
            let message = letter.message().filter(|_| is_compared);
            letter.clone().with_scope(letter.scope().to_lowercase()).with_message(message.cloned())
        };
        comparable(kept) == comparable(put)
    }

    /// Fails unless these letters are kept, and no others; each may be there more than once.
    pub(crate) async fn assert_kept(&self, letters: &[DeadLetter]) {
        let kept = self.letters().await;
        for letter in letters {
            assert!(kept.iter().any(|kept| self.is_same(kept, letter)), "{letter:?} is not among {kept:#?}");
        }
        for kept in kept {
            assert!(letters.iter().any(|letter| self.is_same(&kept, letter)), "{kept:?} was never put");
        }
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Polls the work as often as it asks for it, at most `polls` times, and tells whether it was done by then.
pub(crate) async fn drop_after(polls: usize, work: impl Future) -> bool {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
