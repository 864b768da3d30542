/* A CUDA backend that needs a library which is not found. */
int absent(void);
int lacking(void);
int lacking(void)
{
    return absent();
}
