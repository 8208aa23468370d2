FROM scratch
COPY src/[a /
# case: differs=error, BuildKit shows an error of its protocol
