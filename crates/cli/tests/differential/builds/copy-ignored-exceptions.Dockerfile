FROM scratch
COPY notes /notes
COPY notes/sub/kept.log /
