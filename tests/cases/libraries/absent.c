/* What lacking.c needs and nobody finds, as cuDNN where its folder is not in LD_LIBRARY_PATH. */
int absent(void);
int absent(void)
{
    return 0;
}
