FROM scratch
ARG A B=c =d
