FROM scratch
ADD --unpack=false archives/tree.tar /a/
ADD --unpack=true archives/tree.tgz /b/
