FROM scratch
ENV SET=value EMPTY=
ENV A=${SET:-other} B=${UNSET:-other} C=${EMPTY:-other} D=${EMPTY-other} E=${UNSET-other}
ENV F=${SET:+yes} G=${UNSET:+yes} H=${EMPTY:+yes} I=${EMPTY+yes} J=${UNSET:-${SET:-inner}} K=${SET:?must}
COPY config.yaml /$A/$B/${C}
