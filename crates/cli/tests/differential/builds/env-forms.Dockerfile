FROM scratch
COPY config.yaml /
ENV A=1 B="two words" C='single' D=three\ words
ENV OLD some old value
ENV E=$A$B F=a=b=c G=
ENV A=again
