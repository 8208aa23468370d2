FROM scratch
ADD archives/tree.tar /tar/
ADD archives/tree.tgz /gzip/
ADD archives/tree.tar.bz2 /bzip2/
ADD archives/tree.tar.xz /xz/
ADD archives/tree.tar.zst /zstd/
