//! Which words of an instruction are expanded.

use super::{Add, Command, Copy, KeyValue, SourceContent, Sources};

impl Command {
    /// Replaces every word in which the instruction expands variables by what `expander` makes of it, in the order
    /// written. Some instructions have rules of their own and are left alone: the values of `RUN` mounts are expanded
    /// by [`MountFlag::evaluate`](super::MountFlag::evaluate), a word of `EXPOSE` may become several, and which default
    /// of an `ARG` counts is decided elsewhere.
    ///
    /// # Errors
    /// The first error of `expander`; words before it are replaced already.
    pub fn expand<E>(
        &mut self,
        mut expander: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<(), E> {
        let mut replace = |word: &mut String| -> Result<(), E> {
            *word = expander(word)?;
            Ok(())
        };
        match self {
            Self::Add(Add {
                sources,
                chown,
                chmod,
                checksum,
                ..
            }) => {
                [chown, chmod, checksum]
                    .into_iter()
                    .try_for_each(&mut replace)?;
                sources.words().try_for_each(replace)
            }
            Self::Copy(Copy {
                sources,
                chown,
                chmod,
                ..
            }) => {
                [chown, chmod].into_iter().try_for_each(&mut replace)?;
                sources.words().try_for_each(replace)
            }
            Self::Env(env) => env
                .variables
                .iter_mut()
                .flat_map(KeyValue::words)
                .try_for_each(replace),
            Self::Label(label) => label
                .labels
                .iter_mut()
                .flat_map(KeyValue::words)
                .try_for_each(replace),
            Self::Stopsignal(stopsignal) => replace(&mut stopsignal.signal),
            Self::User(user) => replace(&mut user.user),
            Self::Volume(volume) => volume.volumes.iter_mut().try_for_each(replace),
            Self::Workdir(workdir) => replace(&mut workdir.path),
            Self::Arg(_)
            | Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Expose(_)
            | Self::Healthcheck(_)
            | Self::Maintainer(_)
            | Self::Onbuild(_)
            | Self::Run(_)
            | Self::Shell(_) => Ok(()),
        }
    }

    /// Replaces the bodies of the heredocs of `ADD` and `COPY` that are expanded. They are not words: quotes in them
    /// are text ([`Lexer::for_heredocs`](crate::shell::Lexer::for_heredocs)).
    ///
    /// # Errors
    /// The first error of `expander`.
    pub fn expand_contents<E>(
        &mut self,
        mut expander: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<(), E> {
        let (Self::Add(Add { sources, .. }) | Self::Copy(Copy { sources, .. })) = self else {
            return Ok(());
        };
        for SourceContent { data, .. } in
            sources.contents.iter_mut().filter(|content| content.expand)
        {
            *data = expander(data)?;
        }
        Ok(())
    }
}

impl Sources {
    fn words(&mut self) -> impl Iterator<Item = &mut String> {
        self.paths.iter_mut().chain([&mut self.destination])
    }
}

impl KeyValue {
    fn words(&mut self) -> [&mut String; 2] {
        [&mut self.key, &mut self.value]
    }
}
