/* Reports to the user what a file of weights held: in full on several lines, or in short on one. */
#include <inttypes.h>
#include <string.h>

#include "micromet/base/text.h"
#include "pretrained_parts.h"

static const char *const use_names[USES] = {
    [USE_OTHER] = "unknown",
    [USE_CLASSIFIER] = "of the classifier",
    [USE_AUXILIARY] = "of the auxiliary classifier",
    [USE_COUNTER] = "counters of batches",
    [USE_OPTIMIZER] = "of the optimizer's state",
    [USE_UNCHOSEN] = "of sets that were not chosen",
};

static const char *origin(const struct pretrained *p)
{
    if (p->ours) return weights_metadata(&p->weights, "format");
    if (weights_are_keras(&p->weights)) return "of Keras";
    return p->matching == MATCHING_ORDER ? "of another program" : "of torchvision or timm";
}

static const char *matching_text(const struct pretrained *p)
{
    static const char *const texts[] = {
        [MATCHING_NAMES] = "by torchvision's names",
        [MATCHING_NUMBERS] = "by the order of Keras' layer numbers",
        [MATCHING_ORDER] = "by the order of convolutions in the graph, shapes checked",
    };
    return texts[p->matching];
}

/* Number of values that the file holds for towers, including towers that are not used. */
static int64_t tower_values(const struct pretrained *p)
{
    int64_t values = 0;
    for (int t = 0; t < p->towers; t++)
        for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++)
            for (int part = 0; part < UNIT_PARTS; part++)
                if (p->units[t][u].parts[part]) values += p->units[t][u].parts[part]->count;
    return values;
}

static void print_ignored(const struct pretrained *p, bool head_taken, FILE *stream)
{
    int shown = 0;
    for (int use = 0; use < USES; use++) {
        if (p->uses[use] == 0 || !use_names[use]) continue;
        fprintf(stream, "%s%d %s", shown++ ? ", " : "", p->uses[use], use_names[use]);
        if (use == USE_OTHER) fprintf(stream, " ('%.80s' first)", SHOWN(p->other));
    }
    if (p->uses[USE_HEAD] > 0 && !head_taken)
        fprintf(stream, "%s%d of its head", shown++ ? ", " : "", p->uses[USE_HEAD]);
    if (!shown) fputs("nothing", stream);
}

static const char *head_text(const struct pretrained *p, int towers, bool head_taken)
{
    if (head_taken) return "the file's";
    if (p->uses[USE_HEAD] == 0) return "new, none in the file";
    return pretrained_same_towers(p, towers) ? "new, the file's has another shape"
                                             : "new, the file's is of other towers";
}

static void print_towers(const struct pretrained *p, int towers, FILE *stream)
{
    for (int t = 0; t < towers; t++) fprintf(stream, "%s%d from %d", t ? ", " : "", t, p->from[t]);
}

void pretrained_report(const struct pretrained *p, int towers, bool head_taken, FILE *stream)
{
    fprintf(stream, "weights       %s\n", SHOWN(p->path));
    fprintf(stream, "format        %s, %s\n", weights_format_name(p->weights.format),
            SHOWN(origin(p)));
    fprintf(stream, "matched       %s\n", matching_text(p));
    fprintf(stream, "taken         %d arrays, %" PRId64 " values, of %d tower%s\n",
            p->uses[USE_TOWER], tower_values(p), p->towers, p->towers == 1 ? "" : "s");
    fprintf(stream, "ignored       ");
    print_ignored(p, head_taken, stream);
    fprintf(stream, "\nmissing       ");
    if (p->scales_missing)
        fprintf(stream, "%d scales (bn.weight), taken as 1\n", p->scales_missing);
    else
        fputs("nothing\n", stream);
    fputs("towers        ", stream);
    print_towers(p, towers, stream);
    fprintf(stream, "\nhead          %s\n", head_text(p, towers, head_taken));
    fprintf(stream, "batch norm    %s", p->gamma ? "with scale (gamma)" : "without scale");
    if (p->folded)
        fprintf(stream,
                "; %d of %d folded into their convolutions: where they train, "
                "model.batch_norm=frozen keeps what they do",
                p->folded, p->towers * INCEPTION_CONVOLUTIONS);
    fprintf(stream, "\naverage pools %s padding\n", pool_padding_name(p->pool_padding));
    fprintf(stream, "input         RGB scaled to [-1, 1]\n");
}

void pretrained_summary(const struct pretrained *p, int towers, bool head_taken, FILE *stream)
{
    fprintf(stream, "weights: %s: %s, %s, %d arrays %s; towers ", p->path,
            weights_format_name(p->weights.format), origin(p), p->uses[USE_TOWER],
            matching_text(p));
    print_towers(p, towers, stream);
    fputs("; ignored: ", stream);
    print_ignored(p, head_taken, stream);
    if (p->scales_missing) fprintf(stream, "; missing: %d scales", p->scales_missing);
    if (p->folded) fprintf(stream, "; %d batch norms folded", p->folded);
    fprintf(stream, "; head: %s", head_text(p, towers, head_taken));
}
