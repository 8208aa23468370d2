FROM scratch
COPY links/outside /outside
