//! Threads that share a growing stack of tasks.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Beyond this many, threads only wait for each other in the kernel.
const MOST: usize = 16;

/// The tasks not yet taken.
#[derive(Debug)]
pub struct Tasks<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: Vec<T>,
    busy: usize,
    stopped: bool,
}

impl<T> Tasks<T> {
    /// Adds a task. The newest is taken first, which keeps walks of trees shallow.
    pub fn push(&self, task: T) {
        self.lock().waiting.push(task);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.waiting.pop() {
                state.busy += 1;
                return Some(task);
            }
            if state.busy == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finished(&self, stop: bool) {
        let mut state = self.lock();
        state.busy -= 1;
        state.stopped |= stop;
        if state.stopped || (state.busy == 0 && state.waiting.is_empty()) {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a task even if its work panics, so that the others do not wait for it.
struct Busy<'a, T> {
    tasks: &'a Tasks<T>,
    stop: bool,
}

impl<T> Drop for Busy<'_, T> {
    fn drop(&mut self) {
        self.tasks.finished(self.stop || std::thread::panicking());
    }
}

/// Does all tasks and those they add, each thread collecting into an `L` of its own.
/// The first error stops the rest.
///
/// # Errors
/// That of the task that failed.
pub fn run<T, L, E>(
    first: Vec<T>,
    work: impl Fn(T, &mut L, &Tasks<T>) -> Result<(), E> + Sync,
) -> Result<Vec<L>, E>
where
    T: Send,
    L: Default + Send,
    E: Send,
{
    let threads = std::thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MOST);
    let tasks = Tasks {
        state: Mutex::new(State {
            waiting: first,
            busy: 0,
            stopped: false,
        }),
        changed: Condvar::new(),
    };
    let member = || {
        let mut collected = L::default();
        while let Some(task) = tasks.take() {
            let mut busy = Busy {
                tasks: &tasks,
                stop: false,
            };
            if let Err(error) = work(task, &mut collected, &tasks) {
                busy.stop = true;
                return Err(error);
            }
        }
        Ok(collected)
    };
    let outcomes: Vec<Result<L, E>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(member)).collect();
        let mut outcomes = vec![member()];
        for other in others {
            match other.join() {
                Ok(outcome) => outcomes.push(outcome),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcomes
    });
    outcomes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_add_tasks() {
        let sums: Vec<u64> = run(vec![10_u64], |task, sum: &mut u64, tasks| {
            *sum += 1;
            for _ in 0..2 {
                if task > 0 {
                    tasks.push(task - 1);
                }
            }
            Ok::<(), ()>(())
        })
        .expect("no task fails");
        assert_eq!(sums.into_iter().sum::<u64>(), (1 << 11) - 1);
    }

    #[test]
    fn an_error_stops_it() {
        let outcome: Result<Vec<()>, u64> =
            run((0..100_u64).collect(), |task, _: &mut (), tasks| {
                tasks.push(task);
                if task == 99 { Err(task) } else { Ok(()) }
            });
        assert_eq!(outcome, Err(99));
    }
}
